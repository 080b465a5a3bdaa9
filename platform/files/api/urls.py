"""Where the endpoints of files are, below /api/."""

from django.urls import path

from files.api import views

urlpatterns = [
    path("files", views.FilesView.as_view()),
    path("files/upload", views.UploadView.as_view()),
    path("files/<uuid:file_id>", views.FileView.as_view()),
    path("files/<uuid:file_id>/link", views.LinkView.as_view()),
    path("files/<uuid:file_id>/download", views.DownloadView.as_view(), name="download-file"),
]
