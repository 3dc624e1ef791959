"""Studies with many virtual patients, such as scans, and how their runs are kept on disk."""
