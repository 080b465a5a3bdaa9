"""Where the endpoints of presets are, below /api/library/."""

from django.urls import path

from library.api import views

urlpatterns = [
    path("presets", views.PresetsView.as_view()),
    path("presets/setup-trigger", views.SetUpTriggerView.as_view()),
    path("presets/<uuid:preset_id>", views.PresetView.as_view()),
]
