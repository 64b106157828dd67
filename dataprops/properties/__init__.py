"""The measured properties: intrinsic dimension and label sharpness, of a set and of its images."""
