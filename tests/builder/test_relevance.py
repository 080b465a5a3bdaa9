from builder.relevance import Extra, plain, relevance


def test_a_name_counts_by_its_words_without_the_word_block():
    assert plain("AgentInputBlock") == "agent input"
    assert plain("SendHTTPRequest") == "send http request"
    assert plain("Block") == "block"


def test_the_points_of_a_name_are_by_how_it_fits():
    assert relevance("agent input", "AgentInputBlock", "") == 120 + 50
    assert 90 <= relevance("agent", "AgentInputBlock", "") - 50 * 0.625 < 90.001
    assert 60 <= relevance("input", "AgentInputBlock", "") - 50 * 0.625 < 60.001
    assert relevance("zzz", "AgentInputBlock", "") == 0


def test_other_texts_and_models_add_their_points():
    assert relevance("zzz", "a", "zzz") == 30 + 25
    assert relevance("zzz", "a", "b", [Extra("zzz", 12, 6), Extra("", 15, 6)]) == 12 + 6
    assert relevance("gpt", "a", "b", models=["gpt-9", "claude"]) == 20
