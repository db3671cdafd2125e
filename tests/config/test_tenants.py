"""Settings of a tenant's assistant: its shoppers' words and the service's keys stay apart."""

from vrec.config.serve import ServeConfig

OWN = {
    "documents": "/srv/docs",
    "orders": {"url": "https://a.example/orders"},
    "handover": {"url": "https://a.example/desk"},
    "llm": {"url": "https://a.example/v1/chat/completions", "model": "m"},
    "cards": 7,
}


def test_a_tenant_has_none_of_the_service_s_tools_unless_it_names_its_own():
    given = {
        "assistant": OWN,
        "tenants": {
            "shop-b": {"bundle": "b"},
            "shop-c": {"bundle": "c", "orders": {"url": "http://c/orders"}},
        },
    }
    config = ServeConfig.model_validate(given)
    bare, own = config.of_tenant("shop-b").assistant, config.of_tenant("shop-c").assistant
    assert (bare.documents, bare.orders.url, bare.handover.url, bare.llm.url) == (None,) * 4
    assert bare.cards == 7
    assert (own.orders.url, own.handover.url) == ("http://c/orders", None)


def test_the_service_s_keys_go_to_no_tenant_s_address():
    tenant = {
        "bundle": "b",
        "orders": {"url": "http://b/orders"},
        "llm": {"url": "http://b/llm", "model": "m", "key_variable": "B_KEY"},
    }
    config = ServeConfig.model_validate({"assistant": OWN, "tenants": {"shop-b": tenant}})
    # As it comes to a replica that is told of its tenants.
    again = ServeConfig.model_validate(config.model_dump(mode="json"))
    for one in (config, again):
        assistant = one.of_tenant("shop-b").assistant
        assert assistant.orders.key_variable == "VREC_ORDERS_KEY_SHOP_B"
        assert assistant.handover.secret_variable == "VREC_HAND_OVER_SECRET_SHOP_B"
        assert assistant.llm.key_variable == "B_KEY"
    assert config.assistant.orders.key_variable == "VREC_ORDERS_KEY"
