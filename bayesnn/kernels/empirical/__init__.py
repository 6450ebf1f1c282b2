"""The neural tangent kernel of one network at finite width: dense and matrix-free."""
