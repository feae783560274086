"""Plays the demonstration's story against the containers: signed webhooks become balances and subscriptions."""

import os
import sys

from local.demo.story import Story


def main() -> None:
    """Exit status 0 only where everything ended as it must."""
    story = Story(os.environ)
    is_right = True
    for scene in story.scenes():
        states = story.school.subscriptions(scene.student)
        print(f"{'✓' if scene.as_expected else '✗'} {scene.done}")
        print(f"    {scene.answer}; {scene.outcome}")
        print(
            f"    {scene.student.label}: balance {story.school.balance_minor(scene.student)} centimes, "
            f"{states.count('active')} of {len(states)} subscriptions active"
        )
        is_right &= scene.as_expected
    drift = story.school.drift()
    print(
        f"The whole ledger: {drift['unbalanced_transactions']} transactions that do not sum to zero, "
        f"{drift['wrong_balances']} balances that differ from their entries."
    )
    if not is_right or any(drift.values()):
        sys.exit("Something did not end as it must: see the lines with ✗.")


if __name__ == "__main__":
    main()
