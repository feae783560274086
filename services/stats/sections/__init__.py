"""All sections, in the order in which they are shown."""

from services.stats.sections import (
    activity_and_retention,
    attendance,
    content,
    lessons,
    payments,
    subscription_revenue,
    subscriptions,
    teachers,
    users,
    wallets,
    webhooks_and_dead_letters,
)
from services.stats.sections.base import Section

SECTIONS: tuple[Section, ...] = (
    subscription_revenue.SECTION,
    payments.SECTION,
    wallets.SECTION,
    subscriptions.SECTION,
    lessons.SECTION,
    attendance.SECTION,
    activity_and_retention.SECTION,
    users.SECTION,
    teachers.SECTION,
    content.SECTION,
    webhooks_and_dead_letters.SECTION,
)
