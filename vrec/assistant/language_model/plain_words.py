"""Words that say nothing of a product, a price or a fact: a phrased answer may add these and no others.

Left out on purpose: numbers, comparisons and bounds (cheaper, best, under, 以下), praise, stock, discounts.
"""

_ENGLISH = """
    a about absolutely additionally alright am an and any anything are around as ask asked asking assistance
    assistant at be been browse browsing but by can cart category certainly chat check choice choices
    choose color colors colour colours come comes cost costs could course customer dear detail details do
    does else everyone explore feel find finding following follows for found friend from further get give
    glad go good got great happy has have having hello help helping here here's hey hi hope how i i'd i'll
    i'm i've if in interested into is it it's item items its just know learn let let's like list listed
    listing look looked looking looks love lovely match matched matches matching may maybe me mean meet
    mention message might mine my need needed needs nice now of oh ok okay on option options or other our
    ours page perhaps person pick picked picks please pleasure price priced prices product products question
    questions quick quickly range rather ready recommend recommendation recommendations request requested
    result results say search searched searching see seem seems selection share shop shopping should show
    showing shown sir so some someone something sort sure take taking talk tell than thank thanks that
    that's the their them then there there's they they're thing things think this those these through to
    try turned type up us video videos want wanted wants was way we we'd we'll we're we've welcome well were
    what what's when where which while will wish with wonderful would yes yet you you'd you'll you're you've
    your yours
"""
_CHINESE = """
    为您 给您 帮您 替您 您的 您要的 您 你 你的 我 我们 咱们 这 这些 这里 这儿 这边 这是 这个 这款 那
    那些 那个 了 的 地 得 吧 呢 哦 呀 啊 哈 哟 啦 嘛 吗 嗯 好的 好 好呀 当然 可以 能 会 请 请看 请问
    看看 看一下 看 一下 一起 一些 几 几款 几件 款 件 个 种 商品 产品 宝贝 视频 选项 选择 结果 找到
    找到了 找 查到 查 挑选 挑 选 推荐 搜到 搜索 都 也 还 就 和 与 或 或者 以及 如果 的话 想 想要 想找
    需要 要 喜欢 希望 告诉 告诉我 说说 再 另外 价格 价钱 售价 价位 颜色 是 在 有 符合 满足 条件 要求 亲
    亲亲 您好 你好 欢迎 随时 问 问我 联系 哪 哪款 哪个 什么 什么样 怎么 怎么样 继续 逛 逛逛 现在 目前
    一共 总共 共有 共 分别 如下 供您 参考 中意 满意 合适 心仪 让 帮 到 关于 根据 按 按照 对 把 从 里
    里面 中 上 下面 哪些 感兴趣 一共有 浏览 看到 看中 点击 页面 下方 客服 人工 麻烦 稍等 谢谢 感谢
"""
ENGLISH_PLAIN = frozenset(_ENGLISH.split())
CHINESE_PLAIN = frozenset(_CHINESE.split())
