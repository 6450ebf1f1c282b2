"""Classes of images: data, what lies outside of them, methods, choices and scores."""
