"""The scaling laws of Konz & Mazurowski 2024, what they predict, and how they are fitted to networks of one's own."""
