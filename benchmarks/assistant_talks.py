"""Conversations for `assistant.py` that its grammar was mended on: by hand, and phrases for templates."""

from typing import Any

Talk = tuple[str, str, list[tuple[str, dict[str, Any]]]]
"""A shop of `assistant_shops.py`, the shopper's language, and turns with what each changes."""

WRITTEN: list[Talk] = [
    ("other", "en", [
        ("hi there", {"keeps": True}),
        ("I need a dress for my sister's wedding", {"category": 'Women > Dresses'}),
        ("preferably something in green", {"color": "green"}),
        ("can you keep it below 120?", {"below": 120.0}),
        ("hmm, not so expensive please", {"cheaper": True}),
    ]),
    ("other", "en", [
        ("do you sell boots?", {"category": "Women > Shoes > Boots"}),
        ("black or navy", {"color": ["black", "navy"]}),
        ("my budget is 150", {"most": 150.0}),
        ("and what about bags?", {"category": "Accessories > Bags"}),
    ]),
    ("other", "en", [
        ("looking for a linen shirt", {"category": "Men > Shirts", "material": "linen"}),
        ("no white ones", {"refused": "white"}),
        ("between thirty and seventy dollars", {"least": 30.0, "most": 70.0}),
        ("actually, the color doesn't matter", {"color": None, "refused": None}),
    ]),
    ("other", "en", [
        ("Something cosy: a wool blanket around 60", {"category": "Home > Blankets", "material": "wool", "least": 48.0, "most": 72.0}),
        ("in red", {"color": "red"}),
        ("start over", {"reset": True, "keeps": True}),
        ("bowls for 20 or less", {"category": "Kitchen > Bowls", "most": 20.0}),
    ]),
    ("other", "en", [
        ("show me scarves, anything but pink", {"category": "Accessories > Scarves", "refused": "pink"}),
        ("silk, if you have it", {"material": "silk"}),
        ("under 45", {"below": 45.0}),
    ]),
    ("other", "en", [
        ("A lamp. At least 50, at most 100.", {"category": "Home > Lamps", "least": 50.0, "most": 100.0}),
        ("white please", {"color": "white"}),
        ("make it beige instead", {"color": "beige"}),
    ]),
    ("other", "en", [
        ("a red bag", {"category": "Accessories > Bags", "color": "red"}),
        ("how much is the first one?", {"about": 1}),
        ("too expensive, cheaper ones?", {"cheaper": True}),
        ("not burgundy", {"refused": "burgundy"}),
    ]),
    ("other", "en", [
        ("shirts over 40 euros", {"category": "Men > Shirts", "above": 40.0}),
        ("I don't like black", {"refused": 'black'}),
        ("nor pink", {"refused": "pink"}),
        ("price doesn't matter", {"least": None, "most": None, "below": None, "above": None}),
    ]),
    ("other", "zh", [
        ("你好", {"keeps": True}),
        ("想给妈妈买一条围巾", {"category": "Accessories > Scarves"}),
        ("要羊毛的", {"material": "羊毛"}),
        ("五十块以内", {"most": 50.0}),
        ("不要黑色", {"refused": "black"}),
    ]),
    ("other", "zh", [
        ("有没有酒红色的连衣裙？", {"category": "Women > Dresses", "color": "burgundy"}),
        ("价格在60到130之间", {"least": 60.0, "most": 130.0}),
        ("换成绿色的呢", {"color": "green"}),
        ("再便宜一点", {"cheaper": True}),
    ]),
    ("other", "zh", [
        ("我想看看靴子", {"category": "Women > Shoes > Boots"}),
        ("黑色或者米色", {"color": ["black", "beige"]}),
        ("不超过一百八十元", {"most": 180.0}),
        ("那包包呢", {"category": "Accessories > Bags"}),
    ]),
    ("other", "zh", [
        ("帮我找一个台灯，预算80", {"category": "Home > Lamps", "most": 80.0}),
        ("除了白色都可以", {"refused": "white"}),
        ("重新开始", {"reset": True, "keeps": True}),
        ("碗，二十块左右", {"category": "Kitchen > Bowls", "least": 16.0, "most": 24.0}),
    ]),
    ("other", "zh", [
        ("男士衬衫，亚麻的", {"category": "Men > Shirts", "material": "亚麻"}),
        ("四十元以上", {"least": 40.0}),
        ("颜色要藏青色", {"color": "navy"}),
        ("颜色都可以", {"color": None, "refused": None}),
    ]),
    ("other", "zh", [
        ("羊毛毯子有吗", {"category": "Home > Blankets", "material": "羊毛"}),
        ("不要红色的，也不要粉色的", {"refused": ["red", "pink"]}),
        ("低于90", {"below": 90.0}),
    ]),
    ("other", "zh", [
        ("真丝连衣裙", {"category": "Women > Dresses", "material": "真丝"}),
        ("第一个多少钱", {"about": 1}),
        ("太贵了", {"cheaper": True}),
        ("白色的有吗", {"color": "white"}),
    ]),
    ("other", "zh", [
        ("送朋友一个包，一百五左右", {"category": "Accessories > Bags", "least": 120.0, "most": 180.0}),
        ("皮的", {"material": "皮"}),
        ("绿色或者黑色", {"color": ["green", "black"]}),
    ]),
    ("drawn", "en", [
        ("good evening, could you show me some hedphones please?", {"category": "headphones"}),
        ("I'd rather not spend more than 120", {"most": 120.0}),
        ("same ones but in plum", {"color": "plum"}),
        ("no sorry, I meant sage", {"color": "sage"}),
    ]),
    ("drawn", "en", [
        ("watch for my husband, 130ish", {"category": "watches", "least": 104.0, "most": 156.0}),
        ("the colour isn't important", {"color": None}),
        ("what does the 3rd one cost?", {"about": 3}),
        ("hmm what's the cheapest you have", {"sorted": True}),
    ]),
    ("drawn", "zh", [
        ("哈喽，有耳机么", {"category": "headphones"}),
        ("一百五以下，颜色别太花", {"most": 150.0}),
        ("换成玫瑰粉", {"color": "rose"}),
        ("还有其他款吗", {"more": True}),
    ]),
    ("drawn", "zh", [
        ("想给男朋友挑块手表，150上下", {"category": "watches", "least": 120.0, "most": 180.0}),
        ("不是靛蓝就行", {"refused": "indigo"}),
        ("打错了，是要双肩包", {"category": "backpacks"}),
        ("价钱随便", {"least": None, "most": None}),
    ]),
    ("zh", "zh", [
        ("有没有真丝四件套", {"category": "床品>四件套", "material": "真丝"}),
        ("别的牌子不要，就要拾光记", {"brand": "拾光记"}),
        ("四五百的", {"least": 400.0, "most": 600.0}),
        ("换纯棉的看看", {"material": "纯棉"}),
    ]),
    ("zh", "zh", [
        ("保温杯 不锈钢 50到100", {"category": "家居>保温杯", "material": "不锈钢", "least": 50.0, "most": 100.0}),
        ("不要青禾", {"refused_brand": "青禾"}),
        ("最贵的是哪款", {"dearest": True}),
        ("第二款加进购物车", {"about": 2}),
    ]),
    ("zh", "zh", [
        ("童鞋27码的，粉色", {"category": "鞋靴>童鞋", "size": "27", "color": "pink"}),
        ("写错了 29码", {"size": "29"}),
        ("百元以内", {"most": 100.0}),
    ]),
    ("zh", "en", [
        ("I'm looking for nuts, sugar free", {"category": "食品>坚果", "material": "无糖"}),
        ("max 50 yuan", {"most": 50.0}),
        ("anything from 青禾?", {"brand": "青禾"}),
        ("the brand doesn't matter", {"brand": None}),
    ]),
    ("zh", "en", [
        ("face cream for my wife please", {"category": "美妆>面霜"}),
        ("somewhere between 100 and 250", {"least": 100.0, "most": 250.0}),
        ("no 拾光记", {"refused_brand": "拾光记"}),
    ]),
    ("odd", "en", [
        ("hi, looking for a rain jaket in size L", {"category": "rain-jackets", "size": "L"}),
        ("not nylon", {"refused_material": "nylon"}),
        ("teal or lilac, 150 max", {"color": ["teal", "lavender"], "most": 150.0}),
        ("sorry I meant M", {"size": "M"}),
    ]),
    ("odd", "en", [
        ("phone case by MTN-9", {"category": "phone_cases", "brand": "MTN-9"}),
        ("silicone not leather", {"material": "silicone", "refused_material": "leather"}),
        ("any brand is fine", {"brand": None}),
        ("less expensive ones", {"cheaper": True}),
    ]),
    ("odd", "en", [
        ("Need a new pan!! cast iron, not more than 70", {"category": "frying pans", "material": "cast iron", "most": 70.0}),
        ("prefer ceramic actually", {"material": "ceramic"}),
        ("do you have Ola's?", {"brand": "Ola's"}),
        ("any others", {"more": True}),
    ]),
    ("odd", "zh", [
        ("有没有狗窝 dog bed", {"category": "dog beds"}),
        ("100以内", {"most": 100.0}),
        ("Ola's 的", {"brand": "Ola's"}),
        ("换成姜黄色", {"color": "mustard"}),
    ]),
    ("odd", "zh", [
        ("想要一件白T恤，L码", {"category": "tees", "color": "white", "size": "L"}),
        ("MTN-9有吗", {"brand": "MTN-9"}),
        ("不限品牌", {"brand": None}),
        ("要最便宜的", {"sorted": True}),
    ]),
    ("other", "en", [
        ("purse or handbag, whatever, as long as it's under a hundred", {"category": "Accessories > Bags", "below": 100.0}),
        ("leather. not silk.", {"material": "leather", "refused_material": "silk"}),
        ("I changed my mind, show me lamps", {"category": "Home > Lamps"}),
    ]),
    ("other", "zh", [
        ("衬衫，棉的，不要绿的", {"category": "Men > Shirts", "material": "cotton", "refused": "green"}),
        ("六七十块", {"least": 60.0, "most": 80.0}),
        ("改成真丝吧", {"material": "silk"}),
        ("刚才说错了，要裙子", {"category": "Women > Dresses"}),
    ]),
]  # fmt: skip
PHRASES: dict[str, dict[str, list[str]]] = {
    "en": {
        "category": ["I'm looking for {}", "show me {}", "do you have any {}?", "{} please", "I'd like to see some {}"],
        "color": ["in {}", "{} ones please", "I prefer {}", "only {}"],
        "refused": ["not {}", "no {}, please", "anything but {}", "I don't like {}"],
        "brand": ["from {}", "do you have {}?", "{} only"],
        "material": ["{} please", "in {}", "it should be {}"],
        "size": ["size {}", "in size {} please"],
        "below": ["under {}", "less than {}", "cheaper than {}"],
        "most": ["at most {}", "no more than {} dollars", "{} or less", "my budget is {}"],
        "least": ["at least {}", "{} and up"],
        "cheaper": ["cheaper please", "anything less expensive?"],
    },
    "zh": {
        "category": ["我想买{}", "有{}吗", "推荐一些{}", "帮我找{}", "看看{}"],
        "color": ["要{}的", "只看{}的", "{}的有吗", "最好是{}"],
        "refused": ["不要{}", "不喜欢{}的", "除了{}都行", "{}的不要"],
        "brand": ["要{}的", "{}家有吗", "只看{}"],
        "material": ["要{}的", "{}的有吗"],
        "size": ["{}码", "有{}码吗"],
        "below": ["低于{}元", "不到{}块"],
        "most": ["不超过{}元", "{}块以内", "预算{}", "最多{}"],
        "least": ["至少{}元", "{}元以上"],
        "cheaper": ["便宜点", "有更便宜的吗"],
    },
}  # fmt: skip
"""Phrases of the conversations that are drawn."""
