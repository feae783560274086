"""All sections, in the order in which they are shown."""

from services.stats.sections import (
    attendance,
    content,
    engagement,
    payments,
    platform,
    subscriptions,
    teachers,
    users,
)
from services.stats.sections.base import Section

SECTIONS: tuple[Section, ...] = (
    users.SECTION,
    teachers.SECTION,
    content.SECTION,
    payments.SECTION,
    subscriptions.SECTION,
    attendance.SECTION,
    platform.SECTION,
    engagement.SECTION,
)
