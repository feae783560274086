"""The addresses; in your project: path("", include("nouba.urls"))."""

from django.urls import path

from nouba import views

urlpatterns = [
    path("orders/<str:order_number>/pay", views.pay),
    path("orders/<str:order_number>", views.show_order),
    path("courses/<int:course_id>/upload", views.begin_upload),
    path("courses/<int:course_id>/upload/complete", views.complete_upload),
    path("courses/<int:course_id>/lesson", views.play),
    path("nouba-events", views.receive_event),
]
