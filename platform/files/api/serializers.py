"""What files look like on the wire."""

from typing import Any

from rest_framework import serializers

from core.paging import CursorPaginationSerializer
from files.links import LONGEST_SECONDS, SHORTEST_SECONDS
from files.models import StoredFile


class UploadQuerySerializer(serializers.Serializer[Any]):
    """How an upload is kept."""

    provider = serializers.CharField(default="gcs", help_text="Only gcs, wherever this server keeps its files.")
    expiration_hours = serializers.IntegerField(default=24, help_text="How long it is kept, 1 to 48 hours.")


class UploadSerializer(serializers.Serializer[Any]):
    """A form with one file."""

    file = serializers.FileField(allow_empty_file=True, help_text="With its name and, if you like, its content type.")


class StoredFileSerializer(serializers.ModelSerializer[StoredFile]):
    """A file without its content."""

    file_uri = serializers.CharField(source="uri", help_text="How runs name it, in their inputs and outputs.")
    file_name = serializers.CharField(source="name")
    size = serializers.IntegerField(help_text="Bytes.")
    content_type = serializers.CharField(source="media_type")
    sha256 = serializers.CharField(help_text="Of the content, in hexadecimal.")
    graph_exec_id = serializers.UUIDField(source="run_id", allow_null=True, help_text="The run that made it.")
    expires_at = serializers.DateTimeField(help_text="It is gone then.")

    class Meta:
        model = StoredFile
        fields = (
            "id", "file_uri", "file_name", "size", "content_type", "sha256", "graph_exec_id", "created_at",
            "expires_at",
        )  # fmt: skip


class UploadedFileSerializer(StoredFileSerializer):
    """A file that was just uploaded."""

    expires_in_hours = serializers.IntegerField()

    class Meta(StoredFileSerializer.Meta):
        fields = (*StoredFileSerializer.Meta.fields, "expires_in_hours")  # type: ignore[assignment]  # one more


class UsageSerializer(serializers.Serializer[Any]):
    """How much room your files take. Expired ones count until they are swept, or their room is needed."""

    used_bytes = serializers.IntegerField()
    quota_bytes = serializers.IntegerField()


class FilesSerializer(serializers.Serializer[Any]):
    """A page of files."""

    files = StoredFileSerializer(many=True)
    pagination = CursorPaginationSerializer()
    usage = UsageSerializer()


class DeletedFileSerializer(serializers.Serializer[Any]):
    """What was deleted."""

    id = serializers.UUIDField()


class LinkRequestSerializer(serializers.Serializer[Any]):
    """How long a link shall hold."""

    expires_in_seconds = serializers.IntegerField(
        min_value=SHORTEST_SECONDS, max_value=LONGEST_SECONDS, default=3600, help_text="At most until the file expires."
    )


class DownloadLinkSerializer(serializers.Serializer[Any]):
    """A link that needs no token of yours."""

    url = serializers.CharField()
    expires_at = serializers.DateTimeField()
