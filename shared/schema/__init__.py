"""Tables and migrations; every table names its one writer."""
