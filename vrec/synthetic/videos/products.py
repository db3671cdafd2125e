"""Product classes of the synthetic catalog, their names in two languages, and product colors."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ProductColor:
    """Color of a product."""

    en: str
    zh: str
    rgb: tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class ProductCategory:
    """Class of products."""

    category: str
    zh: str
    price: float
    """Price of a typical product of the class, in the shop's currency."""
    names_en: tuple[str, ...]
    names_zh: tuple[str, ...]


PRODUCT_COLORS: tuple[ProductColor, ...] = (
    ProductColor("coral", "珊瑚红", (228, 97, 72)),
    ProductColor("mustard", "姜黄", (224, 166, 44)),
    ProductColor("sage", "鼠尾草绿", (120, 158, 116)),
    ProductColor("teal", "湖蓝", (26, 138, 142)),
    ProductColor("indigo", "靛蓝", (66, 82, 172)),
    ProductColor("plum", "梅紫", (130, 64, 122)),
    ProductColor("rose", "玫瑰粉", (220, 112, 142)),
    ProductColor("graphite", "石墨灰", (72, 78, 90)),
)

PRODUCT_CATEGORIES: tuple[ProductCategory, ...] = (
    ProductCategory(
        "sneakers",
        "运动鞋",
        89,
        ("Cloudstep running shoe", "City trainer", "Featherweight sneaker", "Trail runner"),
        ("云步轻量跑鞋", "城市休闲运动鞋", "轻羽透气板鞋", "越野缓震跑鞋"),
    ),
    ProductCategory(
        "mugs",
        "马克杯",
        16,
        ("Stoneware mug, 350 ml", "Slow morning cup", "Wide-handle coffee mug", "Striped breakfast mug"),
        ("手作陶瓷马克杯", "慢晨咖啡杯", "宽柄早餐杯", "条纹釉下彩水杯"),
    ),
    ProductCategory(
        "lamps",
        "台灯",
        45,
        ("Dusk table lamp", "Linen-shade bedside lamp", "Warm dimming lamp", "Reading lamp with pleats"),
        ("暮色床头台灯", "亚麻灯罩小夜灯", "暖光调光台灯", "百褶阅读灯"),
    ),
    ProductCategory(
        "dresses",
        "连衣裙",
        72,
        ("Dotted summer dress", "A-line tea dress", "Swing dress with belt", "Garden-party dress"),
        ("波点夏日连衣裙", "法式茶歇裙", "收腰大摆裙", "花园派对连衣裙"),
    ),
    ProductCategory(
        "headphones",
        "耳机",
        129,
        (
            "Over-ear headphones",
            "Studio headphones, closed",
            "Deep-bass wireless headphones",
            "Padded headset",
        ),
        ("头戴式无线耳机", "录音室监听耳机", "重低音蓝牙耳机", "软垫降噪耳机"),
    ),
    ProductCategory(
        "plants",
        "绿植",
        24,
        ("Potted rubber plant", "Windowsill fern", "Easy-care houseplant", "Leafy desk plant"),
        ("橡皮树小盆栽", "窗台蕨类绿植", "懒人好养盆栽", "桌面阔叶绿植"),
    ),
    ProductCategory(
        "backpacks",
        "双肩包",
        64,
        ("Daypack, 18 litres", "School backpack", "Weekend rucksack", "Commuter backpack"),
        ("轻便日用双肩包", "学院风书包", "周末短途背包", "通勤电脑双肩包"),
    ),
    ProductCategory(
        "watches",
        "手表",
        149,
        ("Automatic wristwatch", "Field watch, 38 mm", "Slim dress watch", "Everyday watch"),
        ("自动机械腕表", "三十八毫米野战表", "超薄正装手表", "日常石英表"),
    ),
)

CATEGORY_BY_NAME: dict[str, ProductCategory] = {product.category: product for product in PRODUCT_CATEGORIES}
COLOR_BY_NAME: dict[str, ProductColor] = {color.en: color for color in PRODUCT_COLORS}
