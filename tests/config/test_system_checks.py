import pytest

from config.system_checks import channel_layer_waits, secrets_are_strong


def test_the_settings_as_they_are_pass():
    assert secrets_are_strong() == []
    assert channel_layer_waits() == []


@pytest.mark.parametrize("secret", ["short", "a" * 64])
def test_a_secret_that_can_be_guessed_is_an_error(settings, secret: str):
    settings.SECRET_KEY = secret
    settings.JWT_SIGNING_KEY = secret

    assert [message.id for message in secrets_are_strong()] == ["config.E001", "config.E002"]


@pytest.mark.parametrize(
    "host",
    ["redis://:hidden@elsewhere:6379/0", {"address": "redis://:hidden@elsewhere:6379/0"}],
)
def test_a_channel_layer_that_gives_up_after_silence_is_an_error(settings, host: object):
    layer = {"BACKEND": "channels_redis.core.RedisChannelLayer", "CONFIG": {"hosts": [host]}}
    settings.CHANNEL_LAYERS = {"default": layer}

    [message] = channel_layer_waits()

    assert message.id == "config.E003"
    assert message.msg == "The channel layer host elsewhere:6379/0 would be cut off after 5 silent seconds."
