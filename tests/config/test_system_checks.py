import pytest

from config.system_checks import channel_layer_waits, identity_provider_is_sound, secrets_are_strong


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


@pytest.mark.parametrize(("algorithm", "key"), [("none", "x" * 64), ("EdDSA", "x" * 64), ("HS512", "x" * 64)])
def test_a_signing_key_that_does_not_fit_its_algorithm_is_an_error(settings, algorithm: str, key: str):
    settings.JWT_ALGORITHM, settings.JWT_SIGNING_KEY = algorithm, key

    assert [message.id for message in secrets_are_strong()] == ["config.E002"]


@pytest.mark.parametrize("key", ["", "short", "-----BEGIN PUBLIC KEY-----\nx\n-----END PUBLIC KEY-----"])
@pytest.mark.parametrize("algorithm", ["HS256", "RS256", "none"])
def test_an_identity_provider_without_a_usable_key_is_an_error(settings, algorithm: str, key: str):
    settings.IDENTITY_ISSUER, settings.IDENTITY_ALGORITHM, settings.IDENTITY_KEY = "https://a.example", algorithm, key

    assert [message.id for message in identity_provider_is_sound()] == ["config.E004"]


def test_published_keys_must_come_by_https_but_for_debugging(settings):
    settings.IDENTITY_ISSUER, settings.IDENTITY_JWKS_URL = "https://a.example", "http://a.example/jwks"
    assert [message.id for message in identity_provider_is_sound()] == ["config.E004"]

    settings.DEBUG = True
    assert identity_provider_is_sound() == []

    settings.DEBUG, settings.IDENTITY_JWKS_URL = False, "https://a.example/jwks"
    assert identity_provider_is_sound() == []
