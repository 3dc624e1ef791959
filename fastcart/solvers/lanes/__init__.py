"""The lane engine: 32 patients per core advance together in SIMD lanes, each with its own time and step."""
