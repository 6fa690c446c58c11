"""Types that are known by name, each declared once: `table` has them all."""
