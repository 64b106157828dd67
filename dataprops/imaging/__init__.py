"""From the bytes of an image file to the canonical image of an audit."""
