"""Constants, cited tables and scalar laws; nothing here has an algorithm."""
