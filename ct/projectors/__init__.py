"""Line integrals of images: `A(x)` and its exact adjoint `A.T(y)`."""
