"""Messages for `assistant.py` to which no card fits: noise, other subjects, and other languages."""

NONSENSE: tuple[str, ...] = (
    "", " ", "?", "...", "!!!", "😀😀😀", "🦄", "👍🏽", "asdfghjkl", "qwrtzp xvbnm", "zzzz zzzz", "fjdksla;",
    "lorem ipsum dolor sit amet", "0x7f3a", "{{7*7}}", "' OR 1=1 --", "<script>alert(1)</script>",
    "who won the world cup in 1998?", "what is the capital of Mongolia", "solve x^2 = 4", "tell me a joke",
    "will it rain tomorrow", "write a poem about winter storms on Saturn",
    "明天会下雨吗", "谁是美国总统", "给我讲个笑话", "帮我写一首诗", "阿斯蒂芬规划", "哈哈哈哈哈", "啊啊啊",
    "¿Dónde está la biblioteca?", "Ich möchte bitte zahlen", "Où est la gare", "どこですか", "안녕하세요",
    "Привет, как дела?", "مرحبا كيف حالك", "x" * 10_000, "あ" * 10_000, "啊" * 10_000, "\x00\x01",
    "\u200b\u200b", "1234567890", "9" * 500,
)  # fmt: skip
