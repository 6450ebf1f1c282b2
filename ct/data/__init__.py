"""Reading images and scans, simulating scans, writing results."""
