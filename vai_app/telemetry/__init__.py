"""What VAI tells about itself: logs and metrics."""
