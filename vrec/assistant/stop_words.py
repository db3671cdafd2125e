"""Words of a message that say nothing of a product, in both languages."""

_ENGLISH = """
    a about above again all also am an and any anybody anyone anything are aren't around as at available be
    been being below between both but buy by can can't cant cheap choose clip clips color colors colour
    colours could day did didn't do does doesn't doing don't done dont else find for from get gets getting
    gift give go going good got had has have having he hello help her hers hey hi him his how i i'd i'll i'm
    i've id if ill im in interested into is isn't it it's item items its ive just kind least let let's like
    liked likes look looking looks lot love make many may maybe me mine more most much my myself need needs
    new nice no not now of off ok okay on one ones only option options or order other our out over own
    perhaps pick please prefer price prices product products purchase range really recommend right same
    search see seeking she shop shopping should show shows size sizes so some somebody someone something
    sort stock style suggest suggestion suggestions suitable sure tell than thank thanks that that's thats
    the their them then there there's these they thing things this those to today too try type under up us
    use using very video videos want wanted wants was way we wear wearing well were what what's whats when
    actually afraid after ago already always another anyway anyways asap back bad bit boring budget came
    change changed come comes cost costing costs couple daily decide decided deal definitely different each
    either enough etc ever every exactly fancy feel few fine finally first found friend gimme gonna great
    guess guys happy hear hmm hmmm hurry ideally idea important instead kindly kinda last later left less
    lol long lovely matter matters mean means meant mind mistake must nah named near neat next nope nor oh
    oops ooh particular pay people perfect person pls plz possible possibly ppl preferably prefers probably
    put quite rather ready reckon round said save say seem seems send since somewhere sometimes soon sorry
    spend spending splendid still stuff such surprise take til till tho though thought time tiny together
    tonight total truly two u um upon ur usual usually wait wanna went whatever whichever willing without
    free anywhere hang keep stay popular trending bestseller bestsellers bestselling
    material fabric wonder wondering work yep yo yup where which while who who's whose why will
    wish with won't would yeah yes yet you you're your yours
"""
_CHINESE = """
    全部 全都 所有
    我想要 我想买 我想看 我想找 我要买 我要 我想 想要 想买 想看 想找 帮我找 帮我看 帮我 请给我 给我 给她
    给他 请问 请 有没有 有什么 有哪些 有 没有 什么 哪些 哪个 推荐 看看 看一下 找找 找 看 买 要 一些 一个
    一件 一条 一双 一顶 一款 一只 一种 一张 一本 一台 一套 一下 几个 几款 几件 些 个 件 条 双 款 只 的 吗 呢
    吧 呀 啊 嘛 么 了 是 在 和 与 或者 或 也 还 再 就 都 可以 可以吗 能 能不能 不能 不 可 行 好 好的 好看
    比较 适合 合适 穿 戴 用 送 送给 给 为 让 对 这 那 这个 那个 这些 那些 它 我们 你们 您 你 我 他 她 东西
    商品 产品 视频 颜色 价格 价钱 尺码 大小 样子 风格 类型 种类 便宜 换成 换 改成 改 只要 只看 其他 别的
    其它 另外 最好 大概 一点 一点儿 点 有点 非常 很 最 更 如果 那么 但是 但 因为 所以 刚才 刚刚 之前 打错
    写错 说错 错了 错 对了 牌子 品牌 品 牌 哪款 哪 呗 哦 喔 嗯 哈 哈哈 啦 哎 唉 亲 哈喽 其实 应该 可能 那种
    这种 算了 挑 选 找个 来个 来点 来 几 某 那款 这款 款式 预算 花 花钱 贵 没 没有的 好一点 差不多 尽量 稍微
    优先 首选 偏 一下子 咱们 咱 老铁 宝 小姐姐 掌柜 店家 老板 客服 有啥 啥 啥样 咋样 怎么样 如何 哪种 一副
    一对 一块 一支 一瓶 一盒 套 副 推荐下 求 求推荐 想入 入手 囤 囤点 逛逛 瞧瞧 家有 家的 家 这家 而已 反正
    比如 例如 就要 才 又 刚 直接 随意 钱 价 以下 以上 麻烦 谢谢 喜欢 觉得 感觉 知道 需要 打算 准备 现在 今天
    平时 时候 里面 里 上 下 中 以外 之外 以内 之间 左右 去 到 把 被 跟 同 做 出 会 说 问 想 带 随便 不错
    热门 爆款 热销 畅销 网红 流行 免费
    除了 除开 不要 不想要 不喜欢 不是 别 讨厌 而是 就行 都行 元 块 块钱 礼物 材质 面料 料子
"""
ENGLISH = frozenset(_ENGLISH.split())
CHINESE = tuple(_CHINESE.split())
