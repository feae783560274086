"""All sections, in the order in which they are shown."""

from services.stats.sections import (
    attendance,
    content,
    engagement,
    lessons,
    payments,
    platform,
    subscription_revenue,
    subscriptions,
    teachers,
    users,
    wallets,
)
from services.stats.sections.base import Section

SECTIONS: tuple[Section, ...] = (
    subscription_revenue.SECTION,
    payments.SECTION,
    wallets.SECTION,
    subscriptions.SECTION,
    lessons.SECTION,
    attendance.SECTION,
    engagement.SECTION,
    users.SECTION,
    teachers.SECTION,
    content.SECTION,
    platform.SECTION,
)
