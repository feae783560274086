"""The school's own site as far as lessons go: a page that plays one, by an address that the gateway signs."""
