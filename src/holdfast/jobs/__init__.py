"""Long work that survives: a process of its own with a journal, taken up again wherever it was cut off."""
