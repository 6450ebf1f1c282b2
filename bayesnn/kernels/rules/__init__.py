"""What each kind of layer does to the kernels: one small file for each kind."""
