"""Operations: what operators see and do, for the command line and the console."""
