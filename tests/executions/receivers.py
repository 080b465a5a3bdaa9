"""One web process that events come in at: `python -m tests.executions.receivers WEBHOOK TIMES` posts to itself."""

import sys

import django


def main(webhook_id: str, times: int) -> None:
    from rest_framework.test import APIClient

    for number in range(times):
        path = f"/api/integrations/generic_webhook/webhooks/{webhook_id}/ingress"
        answer = APIClient(HTTP_HOST="localhost").post(
            path, {"number": number}, format="json", HTTP_WEBHOOK_ID=f"msg_{number}"
        )
        sys.stdout.write(f"{answer.status_code}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    django.setup()
    main(sys.argv[1], int(sys.argv[2]))
