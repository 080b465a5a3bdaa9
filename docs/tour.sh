#!/bin/sh
# A tour of Taskloom by its REST interface: log in, draw a graph, run it and watch, have it run every minute, share a
# result, and let a program in and out again. It takes up to 80 seconds: a minute must pass.
#
#   docs/tour.sh EMAIL PASSWORD [ADDRESS]       with what `make run` printed; needs curl and jq
set -eu
EMAIL=$1 PASSWORD=$2 SITE=${3:-http://127.0.0.1:8000}
API=$SITE/api

say() { printf '\n%s\n' "$*"; }
ask() { # METHOD PATH [BODY]: the answer's JSON; the script ends when the answer is an error
    curl -sS --fail-with-body -X "$1" "$API$2" -H "Authorization: Bearer ${TOKEN:-}" \
        -H 'Content-Type: application/json' ${3:+-d "$3"}
}

say "Log in."
TOKEN=$(ask POST /auth/token "$(jq -n --arg email "$EMAIL" --arg password "$PASSWORD" '$ARGS.named')" | jq -r .access)
ask POST /auth/user | jq -r '"This is \(.email)."'

say "Draw a graph that greets somebody loudly, and save it."
GRAPH=$(ask POST /graphs '{"source": "upload", "graph": {
  "name": "Tour", "description": "Greets somebody loudly, after a moment.",
  "nodes": [
    {"id": "who",   "block_id": "c0a8e994-ebf1-4a9c-a4d8-89d09c86741b", "input_default": {"name": "who"}},
    {"id": "pause", "block_id": "d67a9c52-5e4e-11e2-bcfd-0800200c9a71", "input_default": {"seconds": 1}},
    {"id": "text",  "block_id": "db7d8f02-2f44-4c55-ab7a-eae0941f0c30", "input_default": {"format": "{{ who|upper }}!"}},
    {"id": "out",   "block_id": "363ae599-353e-4804-937e-b2ee3cef3da4", "input_default": {"name": "shout"}}],
  "links": [
    {"source_id": "who",   "source_name": "result",         "sink_id": "pause", "sink_name": "input_message"},
    {"source_id": "pause", "source_name": "output_message", "sink_id": "text",  "sink_name": "values_#_who"},
    {"source_id": "text",  "source_name": "output",         "sink_id": "out",   "sink_name": "value"}]}}' | jq -r .id)
echo "It is graph $GRAPH."

say "Have it run every minute."
SCHEDULE=$(ask POST "/graphs/$GRAPH/schedules" '{"name": "tour", "cron": "* * * * *", "inputs": {"who": "everybody"}}' |
    jq -r .id)
ask GET "/schedules/$SCHEDULE" | jq -r '"It runs for the first time at \(.next_run_time)."'

say "Meanwhile, run it by hand and watch."
RUN=$(ask POST "/graphs/$GRAPH/execute/1" '{"inputs": {"who": "world"}}' | jq -r .id)
curl -sSN --max-time 30 "$API/graphs/$GRAPH/executions/$RUN/events" -H "Authorization: Bearer $TOKEN" |
    sed -n 's/^data: //p' | jq -r '.data | "  \(.seq)  \(if .node_id then "node \(.node_id[-4:])" else "run" end)  \(.status)"'
ask GET "/graphs/$GRAPH/executions/$RUN" | jq -c '.status, .outputs'

say "Share the result: who has the link needs no account."
LINK=$(ask POST "/graphs/$GRAPH/executions/$RUN/share" | jq -r .share_token)
curl -sS --fail-with-body "$API/public/shared/$LINK" | jq -c '{graph_name, status, outputs}'

say "Let a program read it, with a key of its own."
ask POST /api-keys '{"name": "tour", "permissions": ["READ_GRAPH"]}' >/tmp/tour.$$
KEY=$(jq -r .plain_text_key /tmp/tour.$$) KEY_ID=$(jq -r .api_key.id /tmp/tour.$$)
rm /tmp/tour.$$
PROGRAM="$SITE/external-api/v1/graphs/$GRAPH/executions/$RUN/results"
curl -sS --fail-with-body "$PROGRAM" -H "X-API-Key: $KEY" | jq -c .output

say "Wait until the minute comes and the schedule runs."
until ask GET "/schedules/$SCHEDULE/fires" | jq -e 'any(.[]; .graph_exec_id)' >/dev/null; do
    sleep 1
    WAITED=$((${WAITED:-0} + 1))
    [ "$WAITED" -lt 90 ] || { echo "It did not run." >&2; exit 1; }
done
sleep 3
ask GET "/graphs/$GRAPH/executions" | jq -c '.executions[] | {status, inputs}'

say "Tidy up: revoke the key, take back the link, delete the schedule and the graph."
ask DELETE "/api-keys/$KEY_ID" | jq -r '"The key is \(.status)."'
curl -sS "$PROGRAM" -H "X-API-Key: $KEY" | jq -r '"With it the answer is: \(.message)"'
ask DELETE "/graphs/$GRAPH/executions/$RUN/share"
curl -sS "$API/public/shared/$LINK" | jq -r '"With the link it is: \(.message)"'
ask DELETE "/schedules/$SCHEDULE" >/dev/null
ask DELETE "/graphs/$GRAPH" >/dev/null
ask POST /auth/logout
say "That was the tour."
