"""The mechanisms by which a call runs twice, a file each: what would show it, and what speaks against it."""
