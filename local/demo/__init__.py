"""The main job, played on the running stack: webhooks become balances and subscriptions."""
