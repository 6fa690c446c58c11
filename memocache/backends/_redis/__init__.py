"""How memocache talks to one Redis or Valkey server: commands, connections, and what the server tells of changes."""
