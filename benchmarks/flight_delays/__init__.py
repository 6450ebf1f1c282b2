"""Flight delays: data, splits by date and airport, methods at tens of thousands of rows, scores."""
