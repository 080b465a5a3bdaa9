#!/bin/sh
# A tour of Taskloom by its REST interface: log in, draw a graph, run it and watch, have it run every minute, share a
# result, and let a program in and out again. It takes up to 80 seconds: a minute must pass.
#
#   docs/tour.sh EMAIL PASSWORD [ADDRESS]       with what `make run` printed; needs curl and jq
#
# On a platform that sells credits through the Stripe for tests (docs/credits.md, "Selling them"), with the same settings
# in this environment, it also spends some, runs out of them, and buys more.
set -eu
[ $# -ge 2 ] || { echo "Usage: docs/tour.sh EMAIL PASSWORD [ADDRESS]" >&2; exit 2; }
EMAIL=$1 PASSWORD=$2 SITE=${3:-http://127.0.0.1:8000}
SITE=${SITE%/}
API=$SITE/api
MANAGE=${MANAGE:-.venv/bin/python manage.py}
SELLS=$([ "${TASKLOOM_CREDITS:-}" = paid ] && [ -n "${STRIPE_API_BASE:-}" ] && echo yes || true)

until_true() { # SECONDS COMMAND...: try again each second
    left=$1
    shift
    until "$@" >/dev/null; do
        left=$((left - 1))
        [ "$left" -gt 0 ] || { echo "It did not happen: $*" >&2; exit 1; }
        sleep 1
    done
}
say() { printf '\n%s\n' "$*"; }
ask() { # METHOD PATH [BODY]: the answer's JSON; the script ends when the answer is an error
    curl -sS --fail-with-body -X "$1" "$API$2" -H "Authorization: Bearer ${TOKEN:-}" \
        -H 'Content-Type: application/json' ${3:+-d "$3"}
}

say "Log in."
# By itself, so that a login that is refused ends the script.
LOGIN=$(ask POST /auth/token "$(jq -n --arg email "$EMAIL" --arg password "$PASSWORD" '$ARGS.named')") ||
    { echo "$LOGIN" >&2; exit 1; }
TOKEN=$(echo "$LOGIN" | jq -r .access)
ask POST /auth/user | jq -r '"This is \(.email)."'
if [ -n "$SELLS" ]; then
    OPERATOR=operator-$(date +%s)@example.com
    DJANGO_SUPERUSER_PASSWORD=$(head -c 18 /dev/urandom | base64) \
        $MANAGE createsuperuser --noinput --email "$OPERATOR" >/dev/null
    $MANAGE give_credits "$EMAIL" 50 --operator "$OPERATOR" --reason "The tour"
fi

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

SHARED=$RUN
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
has_fired() { ask GET "/schedules/$SCHEDULE/fires" | jq -e 'any(.[]; .graph_exec_id)'; }
until_true 90 has_fired
sleep 3
ask GET "/graphs/$GRAPH/executions" | jq -c '.executions[] | {status, inputs}'
ask DELETE "/schedules/$SCHEDULE" >/dev/null

start() { ask POST "/graphs/$GRAPH/execute/1" "$1" | jq -r .id; }
has_status() { ask GET "/graphs/$GRAPH/executions/$1" | jq -e --arg status "$2" '.status == $status'; }
waits() { ask GET "/graphs/$GRAPH/executions/$1" | jq -e .waiting; }
spend() {
    say "A template costs 40 credits from now on, and there are 50."
    $MANAGE set_price FillTextTemplateBlock 40 >/dev/null
    sleep 1
    ask POST "/graphs/$GRAPH/estimate" '{"max_credits": 200}' | jq -c '{estimated_from, p50, worst}'

    say "With a budget of 30 a run does not get that far."
    RUN=$(start '{"inputs": {"who": "a miser"}, "max_credits": 30}')
    until_true 30 has_status "$RUN" FAILED
    ask GET "/graphs/$GRAPH/executions/$RUN" | jq -c '{status, error_code}'

    say "One can be paid; the next waits."
    RUN=$(start '{"inputs": {"who": "the first"}}')
    until_true 30 has_status "$RUN" COMPLETED
    ask GET /credits | jq -c .
    RUN=$(start '{"inputs": {"who": "the second"}}')
    until_true 30 waits "$RUN"
    ask GET "/graphs/$GRAPH/executions/$RUN/why" | jq -c .

    say "Buy 500 more, and it goes on by itself."
    PAGE=$(ask POST /credits '{"credit_amount": 500}' | jq -r .checkout_url)
    curl -sS --fail-with-body -X POST "$PAGE" >/dev/null
    until_true 30 has_status "$RUN" COMPLETED
    ask GET "/graphs/$GRAPH/executions/$RUN" | jq -c '{status, outputs}'
    ask GET /credits/transactions | jq -c '.transactions[] | {transaction_type, amount, running_balance}'
    $MANAGE audit_ledger
    $MANAGE set_price FillTextTemplateBlock >/dev/null
}
[ -z "$SELLS" ] || spend

say "Tidy up: revoke the key, take back the link, delete the graph."
ask DELETE "/api-keys/$KEY_ID" | jq -r '"The key is \(.status)."'
curl -sS "$PROGRAM" -H "X-API-Key: $KEY" | jq -r '"With it the answer is: \(.message)"'
ask DELETE "/graphs/$GRAPH/executions/$SHARED/share"
curl -sS "$API/public/shared/$LINK" | jq -r '"With the link it is: \(.message)"'
ask DELETE "/graphs/$GRAPH" >/dev/null
ask POST /auth/logout
say "That was the tour."
