"""Where the endpoints of the menu are, below /api/builder/."""

from django.urls import path

from builder.api import views

urlpatterns = [
    path("suggestions", views.SuggestionsView.as_view()),
    path("categories", views.CategoriesView.as_view()),
    path("blocks", views.BlocksView.as_view()),
    path("blocks/batch", views.BatchView.as_view()),
    path("providers", views.ProvidersView.as_view()),
    path("search", views.SearchView.as_view()),
    path("counts", views.CountsView.as_view()),
]
