"""Conversations for `assistant.py` that were written before any of the grammar was changed for the others.

Nothing is chosen on them: what they show is what a shopper unknown to the author of the grammar meets. Each
is the name of a shop of `assistant_shops.py`, the shopper's language and the turns, as `Talk` says there.
"""

from typing import Any

SealedTalk = tuple[str, str, list[tuple[str, dict[str, Any]]]]

ABOUT_50 = {"least": 40.0, "most": 60.0}
SEALED_ENGLISH: list[SealedTalk] = [
    ("drawn", "en", [
        ("hey! any comfy sneekers for walking all day?", {"category": "sneakers"}),
        ("nothing over 90 bucks tho", {"most": 90.0}),
        ("ooh, same but in teal", {"color": "teal"}),
        ("how much is number two", {"about": 2}),
    ]),
    ("drawn", "en", [
        ("I could use a new watch, not too expensive", {"category": "watches"}),
        ("anything but indigo, and please no plum either", {"refused": ["indigo", "plum"]}),
        ("sorry, I meant headphones", {"category": "headphones"}),
        ("between 100 and 140", {"least": 100.0, "most": 140.0}),
        ("ok forget the price", {"least": None, "most": None}),
    ]),
    ("drawn", "en", [
        ("Hi, could you kindly help me find a birthday present for my grandma, maybe a plant?", {"category": "plants"}),
        ("thanks! around 25 would be lovely", {"least": 20.0, "most": 30.0}),
        ("do u have more?", {"more": True}),
        ("actually she'd prefer a mug", {"category": "mugs"}),
    ]),
    ("drawn", "en", [
        ("backpack, coral or mustard, max 70", {"category": "backpacks", "color": ["coral", "mustard"], "most": 70.0}),
        ("hmm not coral after all", {"refused": "coral"}),
        ("put the first one in my basket", {"about": 1}),
        ("and a lamp to go with it, any colour", {"category": "lamps", "color": None, "refused": None}),
    ]),
    ("other", "en", [
        ("gimme boots", {"category": "Women > Shoes > Boots"}),
        ("in black, a hundred at most", {"color": "black", "most": 100.0}),
        ("no I meant white", {"color": "white"}),
        ("got anything a bit cheaper?", {"cheaper": True}),
    ]),
    ("other", "en", [
        ("Looking for a silk scarf, nothing pink please, budget's forty", {"category": "Accessories > Scarves", "material": "silk", "refused": "pink", "most": 40.0}),
        ("never mind the silk", {"material": None}),
        ("the last one in green?", {"color": "green"}),
    ]),
    ("other", "en", [
        ("what bags do you have for under 120 euros?", {"category": "Accessories > Bags", "below": 120.0}),
        ("leather only", {"material": "leather"}),
        ("which one's the cheapest", {"sorted": True}),
        ("start from scratch", {"reset": True, "keeps": True}),
        ("three bowls, 10 to 30 each", {"category": "Kitchen > Bowls", "least": 10.0, "most": 30.0}),
    ]),
    ("other", "en", [
        ("is there a cozy blanket that isn't beige or white", {"category": "Home > Blankets", "refused": ["beige", "white"]}),
        ("I'd spend 50-80", {"least": 50.0, "most": 80.0}),
        ("make that red", {"color": "red"}),
        ("too pricey!", {"cheaper": True}),
    ]),
    ("odd", "en", [
        ("size M tees pls", {"category": "tees", "size": "M"}),
        ("navy or black", {"color": ["navy", "black"]}),
        ("less than 25", {"below": 25.0}),
        ("L instead", {"size": "L"}),
    ]),
    ("odd", "en", [
        ("need a tent for 2 ppl, up to $200", {"category": "Garden & Outdoor > Tents", "most": 200.0}),
        ("what do you have from Nordlicht?", {"brand": "Nordlicht"}),
        ("not in olive", {"refused": "olive"}),
        ("doesn't have to be Nordlicht", {"brand": None}),
    ]),
    ("odd", "en", [
        ("my dog needs a bed lol", {"category": "dog beds"}),
        ("washable", {"material": "washable"}),
        ("something in mustard", {"color": "mustard"}),
        ("about fifty", ABOUT_50),
    ]),
    ("odd", "en", [
        ("Frying pan. Cast iron. Below 80.", {"category": "frying pans", "material": "cast iron", "below": 80.0}),
        ("I'd rather have ceramic", {"material": "ceramic"}),
        ("other brands than Kerb & Co", {"refused_brand": "Kerb & Co"}),
        ("at least 30 though", {"least": 30.0}),
    ]),
    ("odd", "en", [
        ("phone cases, leather, teal if possible", {"category": "phone_cases", "material": "leather", "color": "teal"}),
        ("20 max", {"most": 20.0}),
        ("what about desk lamps?", {"category": "desk lamps", "material": None}),
    ]),
    ("odd", "en", [
        ("a cooperative board game for my son's birthday, not more than 45", {"category": "board games", "material": "cooperative", "most": 45.0}),
        ("the second one", {"about": 2}),
        ("show me different ones", {"more": True}),
        ("scrap that. rain jacket, size XL, red", {"reset": True, "category": "rain-jackets", "size": "XL", "color": "red"}),
    ]),
    ("zh", "en", [
        ("do you have any qipao? I mean a 旗袍", {"category": "女装>旗袍"}),
        ("in dark red or black, under 500", {"color": ["burgundy", "red", "black"], "below": 500.0}),
        ("without silk please", {"refused_material": "真丝"}),
    ]),
    ("zh", "en", [
        ("thermos for my dad", {"category": "家居>保温杯"}),
        ("not black", {"refused": "black"}),
        ("cheaper than 100 yuan", {"below": 100.0}),
        ("stainless steel", {"material": "不锈钢"}),
    ]),
]  # fmt: skip
SEALED_CHINESE: list[SealedTalk] = [
    ("drawn", "zh", [
        ("在吗？想买双跑步穿的运动鞋", {"category": "sneakers"}),
        ("一百以内吧，学生党", {"most": 100.0}),
        ("换个颜色，要湖蓝的", {"color": "teal"}),
        ("第二个多少钱呀", {"about": 2}),
    ]),
    ("drawn", "zh", [
        ("给我妈买个台灯，不要太贵", {"category": "lamps"}),
        ("50左右的", ABOUT_50),
        ("她不喜欢姜黄和珊瑚红", {"refused": ["mustard", "coral"]}),
        ("还有别的吗", {"more": True}),
        ("算了，看看绿植吧，价格不限", {"category": "plants", "least": None, "most": None}),
    ]),
    ("drawn", "zh", [
        ("有没有 noise cancelling 的耳机", {"category": "headphones"}),
        ("budget 150", {"most": 150.0, "lang": "en"}),
        ("最便宜的是哪个", {"sorted": True}),
        ("不对，我要的是手表", {"category": "watches"}),
    ]),
    ("drawn", "zh", [
        ("连衣裙，梅紫或者靛蓝，八十块以下", {"category": "dresses", "color": ["plum", "indigo"], "most": 80.0}),
        ("再便宜点儿呗", {"cheaper": True}),
        ("把第一个加购物车", {"about": 1}),
    ]),
    ("other", "zh", [
        ("麻烦推荐几款靴子，黑的", {"category": "Women > Shoes > Boots", "color": "black"}),
        ("一百到一百五之间", {"least": 100.0, "most": 150.0}),
        ("不要黑的了，白的吧", {"color": "white", "refused": "black"}),
        ("重新来", {"reset": True, "keeps": True}),
        ("男士衬衫有亚麻的没", {"category": "Men > Shirts", "material": "linen"}),
    ]),
    ("other", "zh", [
        ("围巾围巾！羊毛的，别太贵", {"category": "Accessories > Scarves", "material": "wool"}),
        ("粉色除外", {"refused": "pink"}),
        ("预算四十", {"most": 40.0}),
        ("类似第一个的，要绿色", {"color": "green"}),
    ]),
    ("other", "zh", [
        ("送女朋友的包，两百左右", {"category": "Accessories > Bags", "least": 160.0, "most": 240.0}),
        ("酒红色有么", {"color": "burgundy"}),
        ("太贵啦", {"cheaper": True}),
        ("那毯子呢", {"category": "Home > Blankets"}),
    ]),
    ("other", "zh", [
        ("碗 10块到25块", {"category": "Kitchen > Bowls", "least": 10.0, "most": 25.0}),
        ("米色白色都行", {"color": ["beige", "white"]}),
        ("只要米色", {"color": "beige"}),
    ]),
    ("zh", "zh", [
        ("亲，这款旗袍有墨绿的吗", {"category": "女装>旗袍", "color": "emerald"}),
        ("真丝的，五百以内", {"material": "真丝", "most": 500.0}),
        ("要云锦坊的", {"brand": "云锦坊"}),
        ("其他牌子也可以", {"brand": None}),
    ]),
    ("zh", "zh", [
        ("宝宝鞋子28码", {"category": "鞋靴>童鞋", "size": "28"}),
        ("不超过一百二", {"most": 120.0}),
        ("我说错了，是30码", {"size": "30"}),
        ("除了咖色都可以", {"refused": "brown"}),
    ]),
    ("zh", "zh", [
        ("找一套茶具送领导，三四百的", {"category": "家居>茶具", "least": 300.0, "most": 500.0}),
        ("玻璃的不要", {"refused_material": "玻璃"}),
        ("便宜些的有吗", {"cheaper": True}),
    ]),
    ("zh", "zh", [
        ("面霜，美白的，别超过两百五", {"category": "美妆>面霜", "material": "美白", "most": 250.0}),
        ("不要青禾家的", {"refused_brand": "青禾"}),
        ("第三个", {"about": 3}),
        ("换成保湿的", {"material": "保湿"}),
    ]),
    ("zh", "zh", [
        ("百来块的耳钉", {"category": "饰品>耳钉", "least": 80.0, "most": 130.0}),
        ("珍珠的有没有", {"material": "珍珠"}),
        ("价格无所谓", {"least": None, "most": None}),
        ("浅紫色或粉色", {"color": ["lavender", "pink"]}),
    ]),
    ("zh", "zh", [
        ("想囤点坚果，无糖，20到60", {"category": "食品>坚果", "material": "无糖", "least": 20.0, "most": 60.0}),
        ("小鹿家有吗", {"brand": "小鹿家"}),
        ("ok 就这个牌子，再来几个", {"more": True}),
    ]),
    ("zh", "zh", [
        ("床上四件套 纯棉 大红 结婚用", {"category": "床品>四件套", "material": "纯棉", "color": "red"}),
        ("至少三百块的", {"least": 300.0}),
        ("不是大红，要藏青", {"color": "navy"}),
        ("颜色随意", {"color": None, "refused": None}),
    ]),
    ("odd", "zh", [
        ("T恤，M码，黑色", {"category": "tees", "size": "M", "color": "black"}),
        ("Kerb & Co 的", {"brand": "Kerb & Co"}),
        ("三十以下", {"most": 30.0}),
    ]),
    ("odd", "zh", [
        ("露营用的帐篷，两百块以内", {"category": "Garden & Outdoor > Tents", "most": 200.0}),
        ("帆布的", {"material": "canvas"}),
        ("不要白色", {"refused": "white"}),
        ("从头开始", {"reset": True, "keeps": True}),
        ("手机壳，真皮，二十块左右", {"category": "phone_cases", "material": "leather", "least": 16.0, "most": 24.0}),
    ]),
    ("odd", "zh", [
        ("平底锅有没有陶瓷的", {"category": "frying pans", "material": "ceramic"}),
        ("少于60", {"below": 60.0}),
        ("红的或者蓝的", {"color": ["red", "blue"]}),
    ]),
]  # fmt: skip
SEALED_PHRASES: dict[str, dict[str, list[str]]] = {
    "en": {
        "category": ["hello, I'm hunting for {}", "what {} have you got", "got {}?", "I need to get some {} asap"],
        "color": ["could it be {}?", "ideally {}", "{}, if you have them", "I think {} would suit me"],
        "refused": ["{} isn't my thing", "please leave out {}", "just no {}", "hate {}"],
        "below": ["must be under {}", "needs to cost less than {}"],
        "most": ["I can spend {} tops", "not more than {}", "my limit is {}", "max. {}"],
        "least": ["from {} upwards", "no less than {}"],
        "cheaper": ["something that costs less", "do you have less pricey ones"],
    },
    "zh": {
        "category": ["你们家{}有哪些", "求推荐{}", "我在找{}", "想入手{}"],
        "color": ["偏{}一点的", "{}款", "喜欢{}", "来个{}的吧"],
        "refused": ["{}的就算了", "不想要{}", "别给我{}的", "讨厌{}"],
        "below": ["要低于{}的", "{}块以下"],
        "most": ["最高{}", "{}元封顶", "顶多{}块", "控制在{}以内"],
        "least": ["{}块起", "不低于{}元"],
        "cheaper": ["还能更便宜吗", "价格再低一点"],
    },
}  # fmt: skip
"""Phrases of six more conversations, drawn as the others' templates are."""
