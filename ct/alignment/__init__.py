"""Where the axis of rotation projects to, found from the measurements."""
