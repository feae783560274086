"""From an accepted event to booked money."""
