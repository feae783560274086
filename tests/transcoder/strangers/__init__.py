"""The strangers' corpus: small films of many writers, and a judge that is not our code."""
