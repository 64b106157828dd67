"""Small things that every room uses: whole-file writes, JSON, numbers in words, caches, memory, addresses without their secrets."""
