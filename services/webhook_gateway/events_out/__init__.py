"""Events for the school's own programs: fans them out to endpoints and delivers them, signed."""
