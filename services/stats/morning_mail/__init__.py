"""The morning mail: a day's six numbers to the head of school."""
