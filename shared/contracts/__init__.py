"""Messages between services and their routes; standard library alone."""
