"""What in a scan does not fit its description: noticed and named."""
