"""What the school's own back end calls, with a bearer token: uploads, keys of lessons, payments that are expected."""
