"""How memocache keeps a store in a directory: an LMDB map, files of large values, locks and housekeeping."""
