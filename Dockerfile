# One image: web, worker, beat and migrations differ by their command only.
FROM python:3.13-slim AS build
ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never
# Such as "--extra stripe --extra s3".
ARG EXTRAS=""
WORKDIR /app
RUN pip install --no-cache-dir uv==0.13.9
COPY pyproject.toml uv.lock README.md LICENSE ./
RUN uv sync --frozen --no-dev --no-install-project $EXTRAS
COPY . .
RUN uv sync --frozen --no-dev $EXTRAS

FROM python:3.13-slim
RUN useradd --system --home-dir /app taskloom && mkdir -p /var/lib/taskloom/files && chown -R taskloom /var/lib/taskloom
COPY --from=build /app /app
ENV PATH=/app/.venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    DJANGO_SETTINGS_MODULE=config.settings \
    TASKLOOM_HOME=/var/lib/taskloom
WORKDIR /app
USER taskloom
RUN python manage.py collectstatic --noinput && rm -f /var/lib/taskloom/secrets.json
EXPOSE 8000
CMD ["uvicorn", "config.asgi:application", "--host", "0.0.0.0", "--port", "8000", "--lifespan", "off", "--no-proxy-headers", "--no-server-header", "--timeout-graceful-shutdown", "5"]
