"""Files that hold many images: archives, HDF5, NumPy, Parquet."""
